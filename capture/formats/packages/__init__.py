"""Formats that are read by packages of their own (HDF5, Zarr, Parquet), each an extra."""
