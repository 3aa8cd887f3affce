"""`python -m storage_proxy` is the command `storage-proxy`."""

from storage_proxy.cli import main

if __name__ == "__main__":
    main(prog_name="storage-proxy")
