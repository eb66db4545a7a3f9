"""Is it still the picture that the bundle was calibrated with? Statistics of pictures, and sequential tests on them."""
