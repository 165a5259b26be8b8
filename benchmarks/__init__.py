"""Ratios against other people's code on the same work, in one run.

__main__.py            python -m benchmarks [name ...]
timing.py              interleaved rounds -> median and spread
table.py               results as plain text and as Markdown
machine.py             what the figures were taken on, and whether it was idle
stock.py               the peer: transformers' DeepseekV3ForCausalLM with torch.optim.Muon and AdamW
train_step.py          forward, loss, backward; and the whole optimizer step
experts.py             the two layouts of the routed experts
nano_against_stock.py  the recipe nano against the peer: same text, same seconds, bits per byte
command_start.py       how long `k2 --help` takes
"""
