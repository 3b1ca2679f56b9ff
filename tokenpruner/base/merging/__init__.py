"""The parts that say which kept token each of the others goes into: one file each."""
