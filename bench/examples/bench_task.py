"""What `warren-bench tasks` has done: each task adds one to the counter of its object.

    warren-bench tasks --worker-command "python3 -m warren.worker bench/examples/bench_task.py"
"""

import warren


@warren.method("bench.task")
def count(ctx, msg):
    target = ctx.read(msg["target"])
    ctx.set(target, counted=target["counted"] + 1)
