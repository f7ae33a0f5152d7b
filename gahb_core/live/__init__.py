"""Live: the trained network itself in the reader's page, with no kernel and no internet."""

from gahb_core.live.weights import network_file, network_script, pack_network, script_name

__all__ = ["network_file", "network_script", "pack_network", "script_name"]
