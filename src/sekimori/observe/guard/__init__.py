"""Watches over what stands, and acts through the gate as any door does."""
