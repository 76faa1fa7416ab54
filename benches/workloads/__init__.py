"""What the cases time, and the textbook loops that they are compared with."""
