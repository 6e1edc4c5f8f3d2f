/* Stands in for the theme's 1.4 MB icon script. The few icons of this book come from icons.css. */
