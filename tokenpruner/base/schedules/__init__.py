"""The parts that say before which decoder layers tokens leave: one file each."""
