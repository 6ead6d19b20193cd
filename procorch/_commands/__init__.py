"""The command line, see `__main__`. Commands are loaded by name; workers load `lines` and `references`."""
