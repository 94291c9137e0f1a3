"""One paper each: engines that read a probe, networks that propose a start; found by the registry, never imported."""
