// The machines' tests; and, when it is started as such, the keeper's server or an app.
#include "tests/keeper/keeper_run.hpp"
#include "tests/machines/child.hpp"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments.size() == 2 && arguments[0] == "--as-server") {
    return rooster::keeper::run_test_server(arguments[1]);
  }
  if (arguments.size() >= 3 && !arguments[0].starts_with("--gtest")) {
    return rooster::machines::apps::run_as_app(arguments);
  }
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
