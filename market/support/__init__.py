"""No economics: random numbers, threads, phases of time, compiled kernels, whole files and freed memory."""
