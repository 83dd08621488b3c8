// A registry with the referrers API: built by scripts/testbed/tools.py.
module ocistate.dev/testbed/referrers-registry

go 1.26.0

require github.com/google/go-containerregistry v0.22.1
