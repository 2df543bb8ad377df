"""One file a theme; every generator that @operator marks is collected by a scan of this folder."""
