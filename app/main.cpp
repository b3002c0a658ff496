#include "app/serve.hpp"
#include "cli/run_cli.hpp"

int main(int argc, char** argv) {
  return rooster::cli::run_cli(argc, argv, {.serve = rooster::app::serve});
}
