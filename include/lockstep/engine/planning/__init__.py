"""Say what would run, without running or writing anything: the route is planned by `engine.routing`."""
