"""The mini set: five generated tasks that tell of a small world, and the general corpus of the embedded backbone."""
