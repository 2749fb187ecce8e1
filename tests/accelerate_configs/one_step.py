"""One optimizer step: accelerate launch --config_file accelerate_configs/X.yaml tests/accelerate_configs/one_step.py

Prints one line: FACTS {"distributed_type": "MULTI_CPU", "num_processes": 2, "device": "cpu", "weight": [...]}
"""

import json
import os

import torch
from accelerate import Accelerator, PartialState

# accelerate hands the file's `use_cpu` on to a single process only. Left to itself it would run two processes beside
# each other under DDP, each believing that it is alone; with cpu=True it would run DDP where DeepSpeed was asked for.
if os.environ.get("ACCELERATE_USE_DEEPSPEED") == "true":
    PartialState(backend="gloo")
    accelerator = Accelerator()
    # The Trainer's job in a real run; left alone, accelerate clips to 1.
    accelerator.state.deepspeed_plugin.deepspeed_config |= {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_clipping": 0.0,
    }
else:
    accelerator = Accelerator(cpu=True)
torch.manual_seed(0)
model = torch.nn.Linear(4, 1)
model, optimizer = accelerator.prepare(model, torch.optim.SGD(model.parameters(), lr=0.1))
row = torch.full((1, 4), 0.5 + accelerator.process_index)  # every process sees other data
accelerator.backward(model(row).pow(2).mean())
optimizer.step()
weights = accelerator.get_state_dict(model)
if accelerator.is_main_process:
    facts = {
        "distributed_type": accelerator.state.distributed_type.value,
        "num_processes": accelerator.num_processes,
        "device": accelerator.device.type,
        "weight": weights["weight"].flatten().tolist(),
    }
    print("FACTS " + json.dumps(facts), flush=True)
accelerator.end_training()
