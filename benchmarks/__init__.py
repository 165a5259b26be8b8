"""Ratios against other people's code on the same work, in one run.

__main__.py            python -m benchmarks [name ...]
timing.py              interleaved rounds -> median and spread
table.py               results as plain text and as Markdown
machine.py             what the figures were taken on, and whether it was idle
stock.py               the peer: transformers' DeepseekV3ForCausalLM with torch.optim.Muon and AdamW
train_step.py          forward, loss, backward; and the whole optimizer step
experts.py             the two layouts of the routed experts
optimizer_step.py      one optimizer step of a dense model against five packages' Muon
expert_stacks_step.py  the same on stacked experts against torch.optim.Muon
qk_clip_cost.py        what measuring S_max and clipping add to a training step
communication.py       what an optimizer step sends between processes, beside the minimum
nano_against_stock.py  the recipe nano against the peer: same text, same seconds, bits per byte
sandbox.py             a call into the sandbox, beside starting Python without one
command_start.py       how long `k2 --help` takes
"""
