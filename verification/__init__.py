"""Proves that an archive restores: a pytest suite, its throwaway servers, and the record it writes."""
