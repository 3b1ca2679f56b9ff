"""Our own rules for where sentences end, the default among the splitters."""
