"""How weights change: a step, its optimizer, the schedule of its rate, mixed clips."""
