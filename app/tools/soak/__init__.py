"""`soak`: breaks cameras, disks and processes during a run, and checks what is promised."""
