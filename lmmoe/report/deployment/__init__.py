"""What a detector is worth in use: measured on a profile's entities, for notebook 07.

`kept` keeps rows so that nothing is measured twice. `watching` counts the alarms of live streams,
`newcomer` tries a machine that no training has seen, `steps` times a live row, `choice` says which
detector belongs where. Compressed models are in `report.compression`, files for other programs in
`lmmoe.report.export`, the study's claims in `lmmoe.report.claims`.
"""
