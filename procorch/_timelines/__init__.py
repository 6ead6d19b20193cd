"""What a trace file says, and how it is shown, see `trace`."""
