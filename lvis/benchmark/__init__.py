"""The parts of lvis.benchmark: settings, solvers, the clock, the counters, the machine, the report."""
