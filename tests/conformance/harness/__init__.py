"""What every scenario of the conformance suite is written with: servers, clients, and what /proc says about them."""
