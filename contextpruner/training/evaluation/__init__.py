"""What a pruner keeps of what answers, against how much it removes."""
