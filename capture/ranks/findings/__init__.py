"""What is wrong with ranks, besides values: what one of them lacks, and other inputs."""
