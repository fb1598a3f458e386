"""The PKCS#11 context lab: what sharing, or not sharing, a token's context between processes does."""
