"""Smaller models of the same detector: what they keep of its quality, and what they gain.

`pruning` cuts kernels, hidden units and experts out of a fitted network; `continued` trains a
network on from where it is; `distilling` trains a small network on a large one's forecasts;
`methods` lists what is compared, `measuring` measures it. int8 and bfloat16 are `report.export`'s.
"""
