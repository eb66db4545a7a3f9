"""Training. Imported before torch: what its thread pool reads from the environment, once, is set here."""

import os

# threads that wait in a loop take the processor from those they wait for: beside two other programs on two cores a
# step took 6.0 s instead of 0.43 s, and alone it is no slower. A variable the user has set is left alone
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
