"""Measurements that are kept (`records`)."""
