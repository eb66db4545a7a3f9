"""What a network costs: the multiply-adds that the two-GMAC limit of the edge is about."""

import torch

GMAC_LIMIT = 2.0


def multiply_adds(network, size, attention=None, attended=None):
    """Of convolutions and linear layers for one picture; `attended`: a module type, `attention(module, inputs, output)`
    its cost.
    """
    total = 0

    def count(module, inputs, output):
        nonlocal total
        if isinstance(module, torch.nn.Conv2d):
            total += output.numel() * module.weight[0].numel()
        elif isinstance(module, torch.nn.Linear):
            total += output.numel() * module.in_features
        else:
            total += attention(module, inputs, output)

    kinds = (torch.nn.Conv2d, torch.nn.Linear, *([attended] if attended else []))
    hooks = [module.register_forward_hook(count) for module in network.modules() if isinstance(module, kinds)]
    with torch.no_grad():
        network.eval()(torch.zeros(1, 3, size, size))
    for hook in hooks:
        hook.remove()
    return total
