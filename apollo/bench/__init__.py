"""`apollo bench`: how fast Apollo is, beside a plain baseline and the floors of the machine."""
