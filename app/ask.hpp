// ask() and Answer, by the name they had here.
#pragma once

#include "core/ask.hpp"
