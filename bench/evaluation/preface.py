PREFACE = """
# How good are the findings?

Other people's alarms are judged by anecdote. These are judged by an exam that anybody can hold: `make eval` plays some
hundred labelled episodes, four to eight minutes each, through the agent's own history, engine and detectors, and counts
what was found, what was missed and what was invented. This page is written by it.

## What is asked

An episode is a machine with two to eight GPUs, a load, an air temperature, boards that differ a little, sensors with
noise and gaps, and one fault or none. Families of episodes:

- **machine/…**: simulated machines (H100, H200, A100, V100, RTX 3090 and 4090) made up by chance, read by the agent's
  own collectors, with every fault of the simulator at a random strength, GPU and time: before the agent starts, from
  some moment on, or for a while.
- **ranks/…**: boards and ranks with a physics of their own (`bench/evaluation/plant.py`, `lockstep.py`), modelled on
  what is published of ranks that wait: they spin at 100 % utilisation and draw 24 to 40 % of their limit. Faults: slow
  for no visible reason, slow host, heat, hardware slowdown, lower power limit, a stranger's program, a narrow PCIe
  link, dead NVLinks, a hang. These share no line of code and no constant with the simulator.
- **unlike/…, placed/…, warm/…**: groups of boards that are not alike, jobs on boards that no link joins, a board just
  below its temperature limit.
- **healthy/…**: what looks like a fault and is none. Busy at the power limit, prefill bursts, checkpoints, idle ranks
  that spin, experts with uneven traffic, replicas, layer splits, pipeline stages, a model being loaded, a display, a
  notebook on one GPU, memory held for minutes, a chip that is hot and keeps its clocks, application Xids, corrected
  errors, a replay now and then, no permission, the minutes after boot. Link generations that fall when idle, slots with
  eight lanes and totals that are not zero are everywhere.

Groups are known by process titles, by training launchers or by configuration. In 40 % of the episodes there is no
profile (SM, tensor and memory activity), in 25 % no byte counters of the links; some readings are dropped, frozen or
late, and sometimes no frame comes for a while.

## What is true

The truth is taken from the world and not from the plan. A GPU throttles if its physics says so; what an imbalance costs
is the pace of the job against the same seed without the fault. An imbalance must be found from a cost of 10 % on; from 3
to 10 % it may be told. A throttled clock must be told, and as a warning once it loses a tenth. Idle memory must be told
after half an hour. What was counted before the agent looked is no news. To follow from the fault is no error: a GPU off
the bus stalls its group.

- **recall**: truths that were told while they lasted, with the severity they deserve.
- **precision**: of the warnings and criticals, those that a truth stands behind. A finding may change its mind; every
  statement is judged, and one that was ever wrong counts as invented, even if it comes right later.
- **time to detect**: from the moment the fault is there by its definition.
- **right culprit, right cause**: as of the first warning. For an imbalance exactly the late GPU and no other; where no
  cause can be seen, naming none is right.
- **false alarms per 1,000 GPU-hours**: in healthy episodes only.

The naive rule beside it: utilisation spread over 35 points within the node blames the least busy GPU, and more than 85 °C
is a thermal problem; with the same debounce as ours.

## What it can't show

These are models, not racks: a fault that nobody has modelled is not in here. A hang and an idle engine that spins can't
be told apart by power alone where boards draw as much for the one as for the other, and a late rank can't be told from its
siblings where waiting draws as much as working and there is no profile: such episodes are in, and cost what they cost.

What bounds the recall of a late rank that has been late since before the agent came, on boards without a profile: there is
no past to hold it against, and boards of one model draw up to 12 % (of two, 15 %) unlike power at equal work, silicon and
sensor together. Who is later than that shows only as far as waiting draws less than working: a rank that cost its group
34 % drew but a tenth more than the siblings that waited for it, and nothing else that a driver tells was unlike. Such a
rank is told from a cost of some 20 to 30 % on, with a profile from 7 % on. Where a past is there (a first yardstick takes
a minute of watching), 6 % are enough under a steady load, and 12 % may be missed where it comes in bursts; in a group of
two, what costs less than a sixth is told as a remark and no warning, for two boards tell too little of their scatter. A hang that was there before the agent came is told only where the ranks
draw less than 22 % of their limit, which no idle engine is known to do: what spins and sends nothing looks the same in both.
A PCIe link that carries a tenth of what it could, beside NVLinks that carry as much, is told as narrow and not as what
holds the group back: no reading says that the job waits for it.
"""
