"""The parts of tests/run.py: which suites there are, how one is run, what its JUnit report says."""
