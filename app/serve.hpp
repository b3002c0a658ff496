// serve(): `rooster serve`. The process that is started becomes the keeper; it starts the same
// binary again as the server, which finds the keeper's channel in its environment.
#pragma once

#include "cli/run_cli.hpp"

namespace rooster::app {

/// Returns the process's exit status.
int serve(const cli::ServeOptions& options);

}  // namespace rooster::app
