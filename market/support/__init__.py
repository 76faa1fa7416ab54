"""What is no economics: random numbers, threads, phases of time, compiled kernels and freed memory."""
