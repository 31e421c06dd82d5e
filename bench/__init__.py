"""The bench layer of muxbench: experiments, runner, records, statistics, figures' data."""
