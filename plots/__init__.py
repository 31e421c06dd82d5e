"""Figure code: reads a run's derived data only, never measures."""
