"""What tools read from a command line and show in a terminal."""
