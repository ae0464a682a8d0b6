"""What every room needs of the system: files, devices, processes, the command line, errors."""
