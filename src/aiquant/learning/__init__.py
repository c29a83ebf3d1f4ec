"""From features and labels to forecasts to be believed: panels, splits, forecasters, judgement, gate, registry."""
