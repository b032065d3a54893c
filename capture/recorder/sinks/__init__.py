"""Where recorded tensors go: snapshots, buffers, the writer's thread, shards, files of torch."""
