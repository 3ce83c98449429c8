"""Networks of the deep detectors: the mathematics alone, without training or scores."""
