"""The domain: pure, no I/O, no clock. ``DECIDERS`` is the one list of aggregates."""
