"""CMC, mAP and mINP under the field's protocols."""
