// The server process: the composition root. Builds everything once, in one order, and hands it
// down.
#pragma once

#include "cli/run_cli.hpp"

namespace rooster::app {

/// Runs the node under its keeper until SIGTERM or the keeper's end. Returns the exit status.
int run_server(const cli::ServeOptions& options);

}  // namespace rooster::app
